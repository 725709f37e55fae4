/* What the library was compiled from. */

const char *source_digest(void) { return SOURCE_DIGEST; }
