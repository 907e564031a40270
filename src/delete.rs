//! `silmari delete KIND=VALUE`: deletes by id, counts what would be deleted, lists receipts.

use query_api::{DeleteReceipt, DeleteRequest};

use crate::cli::DeleteArgs;
use crate::exit::Failure;
use crate::output;
use crate::remote::ServerArgs;

pub(crate) async fn run(server: &ServerArgs, arguments: DeleteArgs) -> Result<(), Failure> {
    let client = server.client()?;
    let Some(id) = arguments.id else {
        let answer = client.deletes().await?;
        if arguments.json {
            return output::json(&answer);
        }
        return output::text(&list(&answer.deletes));
    };
    let request = DeleteRequest { id, dry_run: !arguments.yes };
    let receipt = client.delete(&request).await?;
    if arguments.json {
        output::json(&receipt)?;
    } else {
        output::text(&sentence(&receipt))?;
    }
    if receipt.dry_run {
        output::remark("nothing was deleted; add --yes to delete");
    }
    Ok(())
}

fn sentence(receipt: &DeleteReceipt) -> String {
    let DeleteReceipt { id, spans, log_records, .. } = receipt;
    let id = id.escape_debug();
    if receipt.dry_run {
        return format!("{id} is carried by {spans} spans and {log_records} log records\n");
    }
    format!(
        "delete {}: {spans} spans and {log_records} log records with {id} are hidden; \
         they leave the disk with the next compaction (silmari delete --list)\n",
        receipt.number
    )
}

fn list(deletes: &[DeleteReceipt]) -> String {
    let row = |receipt: &DeleteReceipt| {
        vec![
            receipt.number.to_string(),
            receipt.id.clone(),
            receipt.requested_at.to_string(),
            receipt.spans.to_string(),
            receipt.log_records.to_string(),
            receipt.gone_at.map_or_else(|| "not yet".to_owned(), |at| at.to_string()),
        ]
    };
    let rows: Vec<Vec<String>> = deletes.iter().map(row).collect();
    tui::text::table(&["delete", "id", "requested at", "spans", "log records", "gone at"], &rows)
}
