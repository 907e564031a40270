//! A host made of files.

use std::fs;
use std::path::Path;

use super::processes::Services;
use super::*;

fn process(proc: &Path, pid: u32, name: &str, ticks: u32, start: u32) {
    let folder = proc.join(pid.to_string());
    fs::create_dir_all(folder.join("fd")).expect("folder");
    fs::write(folder.join("fd/0"), "").expect("file");
    let stat =
        format!("{pid} (a ) b) S 1 1 1 0 -1 4194560 1 0 0 0 {ticks} 50 0 0 20 0 3 0 {start} 1000 10 1 0 0");
    fs::write(folder.join("stat"), stat).expect("file");
    fs::write(folder.join("environ"), format!("OTEL_SERVICE_NAME={name}\0")).expect("file");
    fs::write(folder.join("cgroup"), format!("0::/{name}.slice\n")).expect("file");
    fs::write(folder.join("io"), "rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\n").expect("file");
}

fn service(services: &Services, name: &str) -> Service {
    services.top(10).into_iter().find(|(found, _)| found == name).expect("a service").1
}

#[test]
fn processes_are_summed_up_by_service_and_their_restarts_counted() {
    let proc = tempfile::tempdir().expect("folder");
    process(proc.path(), 10, "billing", 100, 5);
    process(proc.path(), 11, "billing", 300, 6);
    process(proc.path(), 12, "web", 100, 7);
    let mut services = Services::default();
    services.update(proc.path(), proc.path());
    let billing = service(&services, "billing");
    assert_eq!((billing.user_seconds, billing.system_seconds), (4.0, 1.0));
    assert_eq!((billing.processes, billing.memory_bytes, billing.open_files), (2, 2 * 10 * 4096, Some(2)));
    assert_eq!((billing.threads, billing.read_bytes, billing.written_bytes), (6, 8192, 16384));
    fs::remove_dir_all(proc.path().join("10")).expect("ended");
    process(proc.path(), 11, "billing", 400, 6);
    services.update(proc.path(), proc.path());
    let billing = service(&services, "billing");
    assert_eq!((billing.user_seconds, billing.restarts, billing.processes), (5.0, 1, 1), "sums only grow");
    let top = services.top(1);
    assert_eq!((top[0].0.as_str(), top[1].0.as_str()), ("billing", "other"));
}

#[test]
fn what_may_not_be_seen_of_a_process_is_left_out_and_not_zero() {
    let proc = tempfile::tempdir().expect("folder");
    process(proc.path(), 10, "billing", 100, 5);
    process(proc.path(), 11, "web", 100, 7);
    fs::remove_dir_all(proc.path().join("11/fd")).expect("removed");
    fs::remove_file(proc.path().join("11/io")).expect("removed");
    let mut services = Services::default();
    services.update(proc.path(), proc.path());
    let has = |name: &str, metric: &str| {
        let mut metrics = Metrics::new([], UnixNano(1), UnixNano(2));
        write_service(&mut metrics, &service(&services, name));
        memchr::memmem::find(&metrics.finish(), metric.as_bytes()).is_some()
    };
    for metric in ["process.disk.io", "process.unix.file_descriptor.count"] {
        assert!(has("billing", metric) && !has("web", metric), "{metric}");
    }
    assert!(has("web", "process.cpu.time"));
}

#[test]
fn this_host_is_described_with_the_names_of_the_conventions() {
    let mut metrics = Metrics::new([], UnixNano(1), UnixNano(2));
    system::write(Path::new("/proc"), &mut metrics);
    let request = metrics.finish();
    for name in ["system.cpu.time", "system.memory.usage", "system.cpu.load_average.1m", "system.uptime"] {
        assert!(memchr::memmem::find(&request, name.as_bytes()).is_some(), "{name}");
    }
}

#[test]
fn a_group_of_one_service_tells_its_limits_and_a_shared_one_tells_nothing() {
    let (proc, groups) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    for name in ["billing", "web"] {
        let folder = groups.path().join(format!("{name}.slice"));
        fs::create_dir(&folder).expect("folder");
        fs::write(folder.join("memory.current"), "4096\n").expect("file");
        fs::write(folder.join("memory.max"), "8192\n").expect("file");
    }
    process(proc.path(), 10, "billing", 100, 5);
    process(proc.path(), 11, "web", 100, 5);
    process(proc.path(), 12, "intruder", 100, 5);
    fs::write(proc.path().join("12/cgroup"), "0::/web.slice\n").expect("file");
    let mut services = Services::default();
    services.update(proc.path(), groups.path());
    let limits = service(&services, "billing").limits.expect("its own group");
    assert_eq!((limits.memory_bytes, limits.memory_limit_bytes), (4096, Some(8192)));
    assert_eq!(service(&services, "web").limits, None);
    let mut metrics = Metrics::new([], UnixNano(1), UnixNano(2));
    write_service(&mut metrics, &service(&services, "billing"));
    let request = metrics.finish();
    for name in ["container.memory.limit", "container.oom_kills", "process.restarts"] {
        assert!(memchr::memmem::find(&request, name.as_bytes()).is_some(), "{name}");
    }
}
