"""What Mynah can do: training, speaking, posting, scheduling, safety; no type of Discord's or X's enters here."""
