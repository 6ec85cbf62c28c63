"""From predictions to accuracy, and to what two sets of predictions prove of each other."""
