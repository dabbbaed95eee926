"""What an act would take back, or bring back, and a person has to know first: pure rules."""
