"""The command ``bench``: what a user gets, and what is in each millisecond of it."""
