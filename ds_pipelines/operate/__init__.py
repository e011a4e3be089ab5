"""Running it all: the services under a supervisor, what is wrong with them, and the demonstration."""
