package logs

// Config is the "logs" section of config.json.
type Config struct {
	File     string `json:"file" default:"data/requests.jsonl" path:"true" doc:"The request log, one JSON object a line. Rotated files lie beside it."`
	MaxFile  int64  `json:"max_file" unit:"bytes" default:"64MiB" doc:"The size at which the file is rotated."`
	MaxTotal int64  `json:"max_total" unit:"bytes" default:"1GiB" doc:"What the file and the rotated ones may take together."`
	Ring     int    `json:"ring" default:"10000" doc:"How many of the newest records are kept in memory."`
}

// Check reports what is wrong with c: fault for what cannot run, warn for what
// should not. path is relative to the section, as in "keys[0].name".
func (c Config) Check(fault, warn func(path, message string)) {
}
