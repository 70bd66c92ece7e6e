"""Run folders: made, trained, resumed, tested, used.

`config` has `RunConfig`: data, `Settings` and test options, as in config.json.
`settings_file` reads settings from a JSON file, or those that ship in `presets`.
`run` has `run(options, folder)` and `resume(folder)`, as `hornbook finetune` does them.
`records` says what each file of a run folder holds, and reads and writes it.
`score` tests a run, and `compare` every way to train, over several seeds.
`figures` and `report` draw the pictures and write the page.
`load` has `load_run(folder)`: the model and the config of a finished run.
`evaluate`, `ensemble` and `predict` use finished runs, alone or as one model.
"""
