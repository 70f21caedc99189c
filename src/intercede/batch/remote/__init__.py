"""The remote side: how scripts get there, what they may call, and how their answers come back."""
