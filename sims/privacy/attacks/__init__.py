"""Attacks on the privacy of models as neighbours saw them, and what they prove of the noise in them."""
