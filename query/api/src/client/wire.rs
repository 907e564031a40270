//! How a question travels to the server, or to the file that stands for it, and how its answer is read.

use model::TimeRange;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Client, ClientError};
use crate::offline::{Offline, refusal};
use crate::{ErrorAnswer, ErrorBody, MetricsAnswer, MetricsData};

impl Client {
    pub(super) async fn prometheus(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<MetricsData, ClientError> {
        if let Some(offline) = &self.offline {
            let path = format!("/prometheus/api/v1/{path}");
            return decode_offline(&**offline, &path, parameters, None);
        }
        let url = format!("{}/prometheus/api/v1/{path}", self.base);
        let response = self
            .http
            .post(&url)
            .form_body(parameters)
            .send()
            .await
            .map_err(|source| ClientError::Unreachable { url: self.base.clone(), source })?;
        let answer: MetricsAnswer = decode(response, &url).await?;
        answer.data.ok_or_else(|| {
            ClientError::Refused(Box::new(ErrorBody {
                code: "bad_query".to_owned(),
                message: answer.error.unwrap_or_default(),
                hint: None,
                searched: Vec::new(),
                range: None,
            }))
        })
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let url = format!("{}{path}", self.base);
        let response = self.send(self.patient.post(&url).json(body), &url).await?;
        decode(response, &url).await
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
        range: Option<TimeRange>,
    ) -> Result<T, ClientError> {
        if let Some(offline) = &self.offline {
            return decode_offline(&**offline, path, parameters, range);
        }
        let url = format!("{}{path}", self.base);
        let mut request = self.http.get(&url).query(parameters);
        if let Some(range) = range {
            request = request.query(&[("from", range.from.to_string()), ("to", range.to.to_string())]);
        }
        let response = self.send(request, &url).await?;
        decode(response, &url).await
    }

    /// Refuses what no file can answer.
    pub(super) fn online(&self, what: &str) -> Result<(), ClientError> {
        let Some(offline) = &self.offline else { return Ok(()) };
        let message = format!("{} is a file: {what} needs a server", offline.name());
        Err(ClientError::Refused(Box::new(refusal("offline", message, Some("name one with --server")))))
    }

    pub(super) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        url: &str,
    ) -> Result<reqwest::Response, ClientError> {
        let response = request
            .send()
            .await
            .map_err(|source| ClientError::Unreachable { url: self.base.clone(), source })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let answer: ErrorAnswer = decode(response, url).await?;
        Err(ClientError::Refused(Box::new(answer.error)))
    }
}

trait FormBody {
    fn form_body(self, parameters: &[(&str, String)]) -> Self;
}

impl FormBody for reqwest::RequestBuilder {
    /// `application/x-www-form-urlencoded`, so that long expressions fit.
    fn form_body(self, parameters: &[(&str, String)]) -> Self {
        let mut body = String::new();
        for (key, value) in parameters {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(key);
            body.push('=');
            push_escaped(value, &mut body);
        }
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }
}

fn push_escaped(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            model::id::push_hex(&[byte], out);
        }
    }
}

async fn decode<T: DeserializeOwned>(response: reqwest::Response, url: &str) -> Result<T, ClientError> {
    let unreadable = |problem: String| ClientError::Unreadable { url: url.to_owned(), problem };
    let status = response.status();
    let body = response.bytes().await.map_err(|source| match source.is_timeout() {
        true => ClientError::Unreachable { url: url.to_owned(), source },
        false => unreadable(source.to_string()),
    })?;
    serde_json::from_slice(&body).map_err(|error| unreadable(format!("status {status}, {error}")))
}

fn decode_offline<T: DeserializeOwned>(
    offline: &dyn Offline,
    path: &str,
    parameters: &[(&str, String)],
    range: Option<TimeRange>,
) -> Result<T, ClientError> {
    let body = offline.answer(path, parameters, range);
    let body = body.map_err(|error| ClientError::Refused(Box::new(error)))?;
    let unreadable = |error: serde_json::Error| ClientError::Unreadable {
        url: format!("{path} in {}", offline.name()),
        problem: error.to_string(),
    };
    serde_json::from_slice(&body).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::SqlRequest;

    #[tokio::test]
    async fn an_answer_that_never_comes_is_an_error_and_not_waited_for_without_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let client = Client::with_limits(&address, Duration::from_millis(20), Duration::from_millis(40));
        let request = SqlRequest { query: "select 1".to_owned(), limit: None };
        // Connections are made, and nobody reads.
        let failures = [
            client.alerts().await.map(drop),
            client.sql(&request).await.map(drop),
            client.metrics_instant("up", model::UnixNano(0)).await.map(drop),
            client.follow_journey("ORD-1", model::UnixNano(0), false, &[]).await.map(drop),
        ];
        for failure in failures {
            let Err(ClientError::Unreachable { source, .. }) = failure else { panic!("{failure:?}") };
            assert!(source.is_timeout(), "{source:?}");
        }
    }
}
