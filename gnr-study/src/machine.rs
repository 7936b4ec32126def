//! The circumstances of a measured number: program, processor, cores, date.

use std::time::{SystemTime, UNIX_EPOCH};

/// Names and values for the end of a report.
pub(crate) fn facts() -> Vec<(String, String)> {
    let cpu =
        gnr_train::processor().unwrap_or_else(|| format!("unknown processor ({})", std::env::consts::ARCH));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    vec![
        ("commit".into(), gnr_train::commit().unwrap_or("unknown").into()),
        ("machine".into(), format!("{cpu}, {cores} cores")),
        ("date".into(), format!("{} UTC", date(now))),
    ]
}

/// Unix seconds as `YYYY-MM-DD hh:mm` UTC (civil-from-days, H. Hinnant).
fn date(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", rest / 3600, rest % 3600 / 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_civil() {
        for (seconds, expect) in [
            (0, "1970-01-01 00:00"),
            (951_782_400, "2000-02-29 00:00"),
            (1_709_251_199, "2024-02-29 23:59"),
            (1_767_225_600, "2026-01-01 00:00"),
        ] {
            assert_eq!(super::date(seconds), expect);
        }
    }
}
