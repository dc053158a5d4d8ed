"""One file a subcommand: its arguments as a frozen dataclass, and the function that runs them."""
