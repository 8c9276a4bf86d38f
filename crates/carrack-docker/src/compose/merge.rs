//! One file over another, and a service over the one that it extends.
//!
//! Mappings are merged key by key, lists appended to each other, everything else is replaced; nothing (`key:`) replaces
//! nothing. What stands in a list already is not added again. Nodes are in their long form ([`super::normal`]), so that
//! the two ways to write one thing can meet. `!reset` takes away, `!override` puts in place of.

use super::yaml::{Directive, Map, Node, Value};

/// `over` merged into `base`.
pub(super) fn merge(base: Option<Node>, over: Node) -> Node {
    let base = base.filter(|_| over.directive != Some(Directive::Override));
    let value = match (base.map(|base| base.value), over.value) {
        (Some(Value::Map(base)), Value::Map(over)) => Value::Map(merge_maps(base, over)),
        (_, Value::Map(over)) => Value::Map(merge_maps(Map::default(), over)),
        (Some(Value::List(base)), Value::List(over)) => Value::List(merge_lists(base, over)),
        (_, Value::List(over)) => Value::List(merge_lists(Vec::new(), over)),
        (Some(base), Value::Null) => base,
        (_, over) => over,
    };
    Node { value, span: over.span, directive: None }
}

fn merge_maps(mut base: Map, over: Map) -> Map {
    for (key, node) in over.entries {
        if node.directive == Some(Directive::Reset) {
            base.remove(&key.text);
            continue;
        }
        let merged = match base.get_mut(&key.text) {
            Some(place) => merge(Some(place.clone()), node),
            None => merge(None, node),
        };
        base.set(key, merged);
    }
    base
}

fn merge_lists(mut base: Vec<Node>, over: Vec<Node>) -> Vec<Node> {
    for item in over.into_iter().filter(|item| item.directive != Some(Directive::Reset)) {
        let item = merge(None, item);
        if !base.contains(&item) {
            base.push(item);
        }
    }
    base
}
