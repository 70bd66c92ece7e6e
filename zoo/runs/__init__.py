"""Run folders: made, trained, resumed, evaluated, used."""
