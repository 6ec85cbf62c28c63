"""Model records from folders as the Hugging Face hub holds them; nothing of them runs or is downloaded."""
