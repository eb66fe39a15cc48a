//! An engine that forgets.

use std::collections::BTreeMap;

use super::engine::{Batch, Engine, EngineFault, Records, Tree};

/// Holds the records of every tree.
#[derive(Debug, Default)]
pub struct Memory {
    trees: [BTreeMap<Vec<u8>, Vec<u8>>; 6],
}

impl Memory {
    fn list(&self, tree: Tree) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.trees[tree as usize].iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl Engine for Memory {
    fn load(&mut self) -> Result<Records, EngineFault> {
        Ok(Records {
            meta: self.list(Tree::Meta),
            backends: self.list(Tree::Backends),
            routes: self.list(Tree::Routes),
            findings: self.list(Tree::Findings),
            planes: self.list(Tree::Planes),
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), EngineFault> {
        for (tree, key, value) in &batch.0 {
            let tree = &mut self.trees[*tree as usize];
            match value {
                Some(value) => tree.insert(key.clone(), value.clone()),
                None => tree.remove(key),
            };
        }
        Ok(())
    }
}
