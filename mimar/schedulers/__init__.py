"""Budgets and stopping: which trial gets how much, and when it ends."""
