use crate::Op;

/// The number of an op within one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

impl NodeId {
    /// Position in [`BuildGraph::ops`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// Ops and what each of them needs. Acyclic by construction: an op can only name ops that were added before it.
#[derive(Debug, Clone, Default)]
pub struct BuildGraph {
    ops: Vec<Op>,
}

/// A graph that its front end drew wrongly: a bug, not an input error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// An op names an op that is not there yet.
    #[error("op {op} needs op {input}, which is not in the graph before it")]
    UnknownInput {
        /// The op that was added.
        op: usize,
        /// What it named.
        input: usize,
    },
    /// An op names an op of a kind that it can't use.
    #[error("op {op} needs {} from op {input}, which gives something else", expected.join(" or "))]
    WrongInput {
        /// The op that was added.
        op: usize,
        /// What it named.
        input: usize,
        /// What would have fitted.
        expected: &'static [&'static str],
    },
}

impl BuildGraph {
    /// Adds an op.
    ///
    /// Errors: [`GraphError`] if it needs something that is not in the graph or is of the wrong kind.
    pub fn add(&mut self, op: Op) -> Result<NodeId, GraphError> {
        let number = self.ops.len();
        for (input, expected) in op.inputs() {
            let found =
                self.ops.get(input.0).ok_or(GraphError::UnknownInput { op: number, input: input.0 })?;
            if !expected.contains(&found.kind()) {
                return Err(GraphError::WrongInput { op: number, input: input.0, expected });
            }
        }
        self.ops.push(op);
        Ok(NodeId(number))
    }

    /// Adds all ops of another graph, which have nothing to do with those of this one.
    pub fn append(&mut self, other: Self) {
        let offset = self.ops.len();
        let moved = other.ops.into_iter().map(|mut op| {
            op.for_each_input(&mut |input| input.0 += offset);
            op
        });
        self.ops.extend(moved);
    }

    /// All ops, each behind the ones that it needs.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The op of a node that this graph gave out.
    pub fn op(&self, node: NodeId) -> &Op {
        &self.ops[node.0]
    }

    /// All nodes, each behind the ones that it needs.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        (0..self.ops.len()).map(NodeId)
    }

    /// The images that the graph makes, in the order in which they were added.
    pub fn images(&self) -> impl Iterator<Item = NodeId> {
        self.nodes().filter(|node| self.op(*node).kind() == "image")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClosureOp, TreeOp};

    #[test]
    fn inputs_must_be_there_and_fit() {
        let mut graph = BuildGraph::default();
        let closure = |exec| Op::Closure(ClosureOp { exec, artifact: "app".into(), timezones: false });
        assert_eq!(graph.add(closure(NodeId(0))), Err(GraphError::UnknownInput { op: 0, input: 0 }));
        let tree = graph.add(Op::Tree(TreeOp { trees: Vec::new() })).unwrap();
        assert!(matches!(graph.add(closure(tree)), Err(GraphError::WrongInput { expected: ["exec"], .. })));
    }
}
