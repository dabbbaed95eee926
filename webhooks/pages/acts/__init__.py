"""What people do by the buttons of the pages: what each says before it acts, and what it then does."""
