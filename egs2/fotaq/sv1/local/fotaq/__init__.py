"""The voices of Flight of the Amazon Queen as a speech corpus.

The game is freely redistributable; Debian packages it as flight-of-the-amazon-queen.
"""
