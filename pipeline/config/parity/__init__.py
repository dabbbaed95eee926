"""The properties of an environment by which it is compared with others, and the reasons why they differ."""
