"""Reading files of rows as shops and Klaviyo export them: encodings, columns, rows. Writing them, too."""
