"""Requests that molva makes to addresses which clients name: where to, and how much."""
