"""What each public operation does, described as flows of effects."""
