"""The command line: options in, commands out. The only folder that imports everything."""
