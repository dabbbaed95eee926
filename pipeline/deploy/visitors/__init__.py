"""What visitors get in place of an application's answers, brought to what the records say."""
