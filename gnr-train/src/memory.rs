//! Resident memory of this process, as the system tells it.

/// Peak resident memory of this process in MB (Linux; `None` elsewhere).
pub(crate) fn peak_rss_mb() -> Option<f64> {
    rss_mb("VmHWM:")
}

/// A figure of this process's memory in MB (Linux; `None` elsewhere). `field` is its name in `/proc/self/status`.
pub(crate) fn rss_mb(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? / 1024.0)
}

/// Resets the peak to the memory that is resident now. If the system forbids that, peaks are those of the process so
/// far.
pub(crate) fn reset_peak_rss() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
