"""Kits that check whether a part obeys the laws of its kind; for your parts as for ours."""
