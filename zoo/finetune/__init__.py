"""Fine-tuning: jobs, the arms that are compared, run folders and reports."""
