"""The demonstration: simulated units send to a throw-away node, whose clock runs through months in seconds."""
