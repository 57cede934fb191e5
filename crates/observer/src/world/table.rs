use std::collections::BTreeMap;

/// Objects of one kind by namespace and name; cluster-scoped ones under the empty namespace.
/// Lists replace everything: between [`Table::begin`] and [`Table::end`] what is applied is marked,
/// and the end removes the rest.
#[derive(Debug)]
pub(crate) struct Table<T> {
    spaces: BTreeMap<Box<str>, BTreeMap<Box<str>, Row<T>>>,
    len: usize,
    list: u32,
}

#[derive(Debug)]
struct Row<T> {
    list: u32,
    object: T,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { spaces: BTreeMap::new(), len: 0, list: 0 }
    }
}

impl<T> Table<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&T> {
        self.spaces.get(namespace)?.get(name).map(|row| &row.object)
    }

    /// Sets an object; returns what was there.
    pub(crate) fn apply(&mut self, namespace: &str, name: &str, object: T) -> Option<T> {
        let row = Row { list: self.list, object };
        if !self.spaces.contains_key(namespace) {
            self.spaces.insert(namespace.into(), BTreeMap::new());
        }
        let space = self.spaces.get_mut(namespace)?;
        if let Some(there) = space.get_mut(name) {
            return Some(std::mem::replace(there, row).object);
        }
        space.insert(name.into(), row);
        self.len += 1;
        None
    }

    pub(crate) fn delete(&mut self, namespace: &str, name: &str) -> Option<T> {
        let space = self.spaces.get_mut(namespace)?;
        let gone = space.remove(name)?;
        if space.is_empty() {
            self.spaces.remove(namespace);
        }
        self.len -= 1;
        Some(gone.object)
    }

    /// A list begins.
    pub(crate) fn begin(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// The list is complete: removes and returns what was not in it.
    pub(crate) fn end(&mut self) -> Vec<(Box<str>, Box<str>, T)> {
        let list = self.list;
        let mut gone = Vec::new();
        for (namespace, space) in &mut self.spaces {
            let absent = space.extract_if(.., |_, row| row.list != list);
            gone.extend(absent.map(|(name, row)| (namespace.clone(), name, row.object)));
        }
        self.spaces.retain(|_, space| !space.is_empty());
        self.len -= gone.len();
        gone
    }

    /// All objects, sorted by namespace and name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, &T)> {
        let spaces = self.spaces.iter();
        spaces.flat_map(|(namespace, space)| space.iter().map(move |(name, row)| (&**namespace, &**name, &row.object)))
    }

    /// The objects of one namespace, sorted by name.
    pub(crate) fn within(&self, namespace: &str) -> impl Iterator<Item = (&str, &T)> {
        self.spaces.get(namespace).into_iter().flatten().map(|(name, row)| (&**name, &row.object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_does_not_hold_is_gone() {
        let mut table = Table::default();
        table.apply("a", "1", 1);
        table.apply("b", "2", 2);
        assert_eq!(table.apply("b", "2", 22), Some(2));
        table.begin();
        table.apply("b", "2", 222);
        table.apply("b", "3", 3);
        assert_eq!(table.get("a", "1"), Some(&1), "still there until the list is complete");
        assert_eq!(table.end(), [("a".into(), "1".into(), 1)]);
        assert_eq!(table.iter().map(|(_, name, value)| (name, *value)).collect::<Vec<_>>(), [("2", 222), ("3", 3)]);
        assert_eq!((table.len(), table.delete("b", "9"), table.delete("b", "3"), table.len()), (2, None, Some(3), 1));
    }
}
