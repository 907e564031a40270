//! Expressions on the table's columns, as expressions on the columns of a file ([`storage::Layout`]).
//!
//! ```text
//! name                         the file's column
//! attributes['http.route']     the attribute's own column, or the map of the others when it has none
//! attributes, ids, …           made of the columns that hold them (`StoredColumn`)
//! ```
//!
//! Invariant: a rewritten expression gives what the first gives on the table's rows; statistics and filters of
//! columns that are as they were still rule pages out.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use datafusion::physical_expr_common::physical_expr::with_new_children_if_necessary;
use model::Signal;
use storage::Layout;

/// Makes adapters for files of a signal.
#[derive(Debug)]
pub(super) struct StoredColumns(pub(super) Signal);

impl PhysicalExprAdapterFactory for StoredColumns {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let layout = Layout::of_file(self.0, &file);
        Ok(Arc::new(Adapter { layout, table, file }))
    }
}

#[derive(Debug)]
struct Adapter {
    layout: Layout,
    table: SchemaRef,
    file: SchemaRef,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        if let Some(column) = expr.downcast_ref::<Column>() {
            return self.column(column.name());
        }
        if let Some(attribute) = self.attribute(&expr)? {
            return Ok(attribute);
        }
        let children = expr.children().into_iter().map(|child| self.rewrite(Arc::clone(child)));
        let children = children.collect::<Result<Vec<_>>>()?;
        with_new_children_if_necessary(expr, children)
    }
}

impl Adapter {
    fn stored(&self, name: &str) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Column::new(name, self.file.index_of(name)?)))
    }

    fn column(&self, name: &str) -> Result<Arc<dyn PhysicalExpr>> {
        if !self.layout.is_made(name) {
            return self.stored(name);
        }
        let columns = self.layout.columns_of(name);
        let parts = columns.iter().map(|column| self.stored(column)).collect::<Result<Vec<_>>>()?;
        let field = self.table.field_with_name(name)?.clone();
        Ok(Arc::new(StoredColumn { layout: self.layout.clone(), field, columns, parts }))
    }

    /// `attributes['key']`, read from where the key is.
    fn attribute(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.name() == "get_field")
        else {
            return Ok(None);
        };
        let [map, key] = call.args() else { return Ok(None) };
        let is_map = map.downcast_ref::<Column>().is_some_and(|column| column.name() == "attributes");
        let key_text = key.downcast_ref::<Literal>().and_then(|key| key.value().try_as_str().flatten());
        let Some(key_text) = key_text.filter(|_| is_map && self.layout.is_made("attributes")) else {
            return Ok(None);
        };
        match self.layout.column_of_attribute(key_text) {
            Some(column) => self.stored(&column).map(Some),
            None => {
                let children = vec![self.stored("attributes")?, Arc::clone(key)];
                with_new_children_if_necessary(Arc::clone(expr), children).map(Some)
            }
        }
    }
}

/// A column of the table, made of columns of the file.
#[derive(Debug, Clone)]
struct StoredColumn {
    layout: Layout,
    field: Field,
    columns: Vec<String>,
    parts: Vec<Arc<dyn PhysicalExpr>>,
}

impl PartialEq for StoredColumn {
    fn eq(&self, other: &Self) -> bool {
        (&self.layout, &self.field) == (&other.layout, &other.field) && self.parts == other.parts
    }
}

impl Eq for StoredColumn {}

impl Hash for StoredColumn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.field.hash(state);
        self.parts.hash(state);
    }
}

impl fmt::Display for StoredColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.name())
    }
}

impl PhysicalExpr for StoredColumn {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(self.field.is_nullable())
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (name, part) in self.columns.iter().zip(&self.parts) {
            let array = part.evaluate(batch)?.into_array(batch.num_rows())?;
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let stored = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
        let made = self.layout.restore_column(&stored, self.field.name());
        made.map(ColumnarValue::Array).map_err(|error| DataFusionError::External(error.into()))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.parts.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        parts: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { parts, ..(*self).clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.name())
    }
}
