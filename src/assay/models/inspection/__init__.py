"""What a model file says of itself, and the model record that is drawn from it."""
