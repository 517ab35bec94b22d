"""A shop on Django, whose tests are run by Django itself."""
