//! Calls of operators, which a coordinator and a participant take alike.

use crate::connection::{Connection, Repeat};
use crate::error::OperatorError;
use std::hash::Hash;
use tonic::{Response, Status};
use undoubt_proto::convert::Malformed;
use undoubt_vocabulary::TxId;

impl Connection {
    /// Asks a question, as often as it takes: to ask does nothing. `what` names it.
    pub(crate) async fn ask<Q: Clone, T, V, F>(
        &self,
        what: &str,
        question: Q,
        mut ask: impl FnMut(Q) -> F,
    ) -> Result<V, OperatorError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
        V: TryFrom<T, Error = Malformed>,
    {
        let asked = self.call(self.deadline(), Repeat::Always, what, || ask(question.clone())).await;
        let answer = asked.map_err(|failure| OperatorError::asking(&self.address, failure))?;
        answer.try_into().map_err(|cause| OperatorError::malformed(&self.address, cause))
    }

    /// Has something done that is about no transaction. It is not asked for again once it may have been heard, unless `repeat`
    /// allows that.
    pub(crate) async fn act<Q: Clone, T, F>(
        &self,
        what: &str,
        repeat: Repeat,
        order: Q,
        act: impl FnMut(Q) -> F,
    ) -> Result<T, OperatorError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.operate(what, None, repeat, order, act).await
    }

    /// Has something done about a transaction. It is not asked for again once it may have been heard.
    pub(crate) async fn act_on<Q: Clone, T, F>(
        &self,
        tx: &TxId,
        order: Q,
        act: impl FnMut(Q) -> F,
    ) -> Result<T, OperatorError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.operate(tx, Some(tx), Repeat::OnlyIfNotReceived, order, act).await
    }

    /// Has something done that takes long. Once it may have been heard, its end is waited for as long as the connection lives.
    pub(crate) async fn act_at_length<Q: Clone, T, F>(
        &self,
        what: &str,
        order: Q,
        mut act: impl FnMut(Q) -> F,
    ) -> Result<T, OperatorError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let done = self.call_once_heard(what, || act(order.clone())).await;
        done.map_err(|failure| OperatorError::new(&self.address, None, failure))
    }

    async fn operate<Q: Clone, T, F>(
        &self,
        seed: impl Hash,
        tx: Option<&TxId>,
        repeat: Repeat,
        order: Q,
        mut act: impl FnMut(Q) -> F,
    ) -> Result<T, OperatorError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let done = self.call(self.deadline(), repeat, seed, || act(order.clone())).await;
        done.map_err(|failure| OperatorError::new(&self.address, tx, failure))
    }
}
