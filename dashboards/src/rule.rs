//! Alert rules in Prometheus' file format, with `lang: logs` beside PromQL.
