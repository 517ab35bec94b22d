"""Which customer a claim means, and whether Klaviyo still agrees with the map about that customer."""
