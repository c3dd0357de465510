"""The voices of "Flight of the Amazon Queen", a freely redistributable game, as a speech corpus."""
