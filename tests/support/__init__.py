"""What tests know of the package's inside: only here are its private modules named, so that moving one touches no test.

A test imports a public name from the package, and any other from the module here that says what it is about.
"""
