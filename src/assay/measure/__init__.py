"""From predictions to accuracy, from a session to speed."""
