"""Who is meant, and is it still so: from a claim to a binding, and from a profile to the map."""
