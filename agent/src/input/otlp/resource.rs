//! Adds resource attributes to a request, where a resource does not have them.
//!
//! A request is copied field by field down to the resource; spans, records and points are copied as the bytes they are.

use model::otlp::logs::put_attribute;
use model::otlp::{self, attributes};
use model::wire::{self, Fields, Repeated, Value, put_bytes, put_fixed32, put_fixed64, put_message, put_u64};

type Attributes = [(String, String)];

/// The request with the attributes, and how many items it holds.
pub(crate) fn add_to_protobuf(request: &[u8], added: &Attributes) -> Result<(Vec<u8>, usize), String> {
    let problem = |error: wire::WireError| error.to_string();
    for group in otlp::resources(request).map_err(problem)? {
        for scope in group.map_err(problem)?.scopes() {
            scope.map_err(problem)?;
        }
    }
    let items = otlp::count_items(request);
    let mut out = Vec::with_capacity(request.len() + 256);
    for field in Fields::new(request) {
        match field.map_err(problem)? {
            (1, Value::Bytes(group)) => put_message(&mut out, 1, |out| put_group(group, added, out)),
            (number, value) => put_value(&mut out, number, value),
        }
    }
    Ok((out, items))
}

/// Copies a `Resource{Spans,Logs,Metrics}`; its checked resource is the last one, as when read.
fn put_group(group: &[u8], added: &Attributes, out: &mut Vec<u8>) {
    let resource = Repeated::new(group, 1).iter().last().unwrap_or_default();
    put_message(out, 1, |out| {
        out.extend_from_slice(resource);
        for (key, value) in missing(resource, added) {
            put_attribute(out, 1, key, value);
        }
    });
    for (number, value) in Fields::new(group).map_while(Result::ok).filter(|(number, _)| *number != 1) {
        put_value(out, number, value);
    }
}

fn missing<'a>(resource: &[u8], added: &'a Attributes) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_there =
        move |key: &str| attributes(Repeated::new(resource, 1)).any(|attribute| attribute.key == key);
    added.iter().filter(move |(key, _)| !is_there(key)).map(|(key, value)| (key.as_str(), value.as_str()))
}

/// Copies a field.
pub(crate) fn put_value(out: &mut Vec<u8>, number: u32, value: Value<'_>) {
    match value {
        Value::Varint(value) => put_u64(out, number, value),
        Value::Fixed64(value) => put_fixed64(out, number, value),
        Value::Fixed32(value) => put_fixed32(out, number, value),
        Value::Bytes(bytes) => put_bytes(out, number, bytes),
    }
}

#[cfg(test)]
mod tests {
    use model::otlp::AnyValue;
    use model::otlp::logs::{LogRecordParts, LogsWriter};
    use model::otlp::value::find;
    use proptest::prelude::*;

    use super::*;

    fn added() -> Vec<(String, String)> {
        vec![("env".to_owned(), "prod".to_owned()), ("service.name".to_owned(), "agent".to_owned())]
    }

    #[test]
    fn missing_attributes_are_added_to_every_resource_and_present_ones_stay() {
        let mut request = Vec::new();
        for service in ["a", "b"] {
            let mut writer = LogsWriter::new([("service.name", service)]);
            writer.push(&LogRecordParts { body: "one", ..Default::default() }, []);
            writer.push(&LogRecordParts { body: "two", ..Default::default() }, [("k", "v")]);
            request.extend_from_slice(&writer.finish());
        }
        put_message(&mut request, 1, |group| put_bytes(group, 3, b"schema"));
        let (changed, items) = add_to_protobuf(&request, &added()).expect("well formed");
        assert_eq!(items, 4);
        let groups: Vec<_> =
            otlp::resources(&changed).expect("message").map(|group| group.expect("whole")).collect();
        let services = ["a", "b", "agent"];
        assert_eq!(groups.len(), services.len());
        for (group, service) in groups.iter().zip(services) {
            assert_eq!(find(group.resource, "env"), Some(AnyValue::Str("prod")));
            assert_eq!(find(group.resource, "service.name"), Some(AnyValue::Str(service)));
            assert_eq!(attributes(group.resource).count(), 2);
        }
        assert_eq!(otlp::count_items(&changed), 4);
        assert!(memchr::memmem::find(&changed, b"schema").is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((changed, items)) = add_to_protobuf(&bytes, &added()) {
                prop_assert_eq!(otlp::count_items(&changed), items);
            }
        }
    }
}
