//! Label sets: which labels stay, and how they are written in error texts.

use super::{Labels, METRIC_NAME};

pub(crate) fn without_name(labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    labels.remove(METRIC_NAME);
    labels
}

/// Only the named labels.
pub(crate) fn keep(labels: &Labels, names: &[String]) -> Labels {
    names.iter().filter_map(|name| Some((name.clone(), labels.get(name)?.clone()))).collect()
}

/// All but the named labels and the metric's name.
pub(crate) fn drop_named(labels: &Labels, names: &[String]) -> Labels {
    let mut labels = without_name(labels);
    for name in names {
        labels.remove(name);
    }
    labels
}

/// `{a="1", b="2"}`
pub(crate) fn text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Sets a label, or removes it when the value is empty.
pub(crate) fn set(labels: &mut Labels, name: &str, value: String) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}
