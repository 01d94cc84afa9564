//! The operations of a gateway: one table, of which the router and the description ([`crate::openapi`]) are made.

use crate::gate::Gate;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::sync::Arc;

/// The schema of a type.
pub(crate) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// Returns the schema of a type, as a part of the description.
pub(crate) fn shape<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// Returns the schema of a type whose fields are parameters.
pub(crate) fn fields<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    T::json_schema(schemas)
}

/// The content of an answer.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Nothing,
    Json(Shape),
    /// Events as they happen, each of this form.
    Events(Shape),
}

/// One thing that can be asked.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// Its name, for programs that are made from the description.
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// The method of gRPC whose roles it needs; none: anybody may ask it.
    pub(crate) asks: Option<&'static str>,
    pub(crate) query: Option<Shape>,
    pub(crate) body: Option<Shape>,
    /// The statuses of answers that are no problems, what each means, and what it brings.
    pub(crate) answers: Vec<(u16, &'static str, Content)>,
    pub(crate) handler: MethodRouter<Arc<Gate>>,
}

impl Operation {
    pub(crate) fn new(
        (method, path): (&'static str, &'static str),
        (name, summary): (&'static str, &'static str),
        asks: &'static str,
        handler: MethodRouter<Arc<Gate>>,
    ) -> Operation {
        let (query, body, answers) = (None, None, Vec::new());
        Operation { method, path, name, summary, asks: Some(asks), query, body, answers, handler }
    }

    /// Needs no role.
    pub(crate) fn for_anybody(self) -> Operation {
        Operation { asks: None, ..self }
    }

    /// Takes these parameters in its query.
    pub(crate) fn query<T: JsonSchema>(self) -> Operation {
        Operation { query: Some(fields::<T>), ..self }
    }

    /// Takes a body of this form.
    pub(crate) fn body<T: JsonSchema>(self) -> Operation {
        Operation { body: Some(shape::<T>), ..self }
    }

    /// Answers with this.
    pub(crate) fn json<T: JsonSchema>(self, status: u16, means: &'static str) -> Operation {
        self.answer(status, means, Content::Json(shape::<T>))
    }

    /// Answers with this status alone, or with events.
    pub(crate) fn answer(mut self, status: u16, means: &'static str, content: Content) -> Operation {
        self.answers.push((status, means, content));
        self
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}
