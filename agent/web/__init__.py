"""The ward in a browser: a viewer of the monitor that is served over HTTP."""
