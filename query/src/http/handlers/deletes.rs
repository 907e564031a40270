//! Deletes by id, and their receipts.

use axum::extract::State;
use query_api::{DeleteReceipt, DeleteRequest, DeletesAnswer};

use super::{Answer, Sent, read};
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::{App, json_response};

pub(in crate::http) async fn delete(State(app): State<App>, request: Sent<DeleteRequest>) -> Answer {
    let request = read(request)?;
    let store = &app.engine.store;
    let receipt = match request.dry_run {
        true => store.count_deletable(&request.id).await?,
        false => store.delete(&request.id).await?,
    };
    let receipt = receipt_of(receipt, request.dry_run);
    serde_json::to_vec(&receipt).map(json_response).map_err(ApiError::internal)
}

pub(in crate::http) async fn deletes(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    let deletes = app.engine.store.deletes().await?;
    let deletes = deletes.into_iter().map(|receipt| receipt_of(receipt, false)).collect();
    serde_json::to_vec(&DeletesAnswer { deletes }).map(json_response).map_err(ApiError::internal)
}

fn receipt_of(receipt: storage::DeleteReceipt, dry_run: bool) -> DeleteReceipt {
    DeleteReceipt {
        number: receipt.id,
        id: receipt.term,
        requested_at: receipt.requested_at,
        spans: receipt.spans,
        log_records: receipt.log_records,
        gone_at: receipt.gone_at,
        dry_run,
    }
}
