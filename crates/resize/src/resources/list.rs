//! One resource list: its wire form, its parsed form, and arithmetic on it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;
use supple_quantity::{Bytes, MilliCpu, ParseError, Quantity};

use super::{CPU, MEMORY};

/// A resource list as it stands in an object: name to text.
pub type WireList = BTreeMap<String, WireQuantity>;

/// What a wire quantity says; zero where it cannot be read, which decoding has refused long before.
#[must_use]
pub fn wire_quantity(quantity: &WireQuantity) -> Quantity {
    quantity.0.parse().unwrap_or_default()
}

/// Whether the resource is a huge page size (`hugepages-2Mi`).
#[must_use]
pub fn is_hugepages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether the resource is Kubernetes' own: without a domain, or of `kubernetes.io`.
#[must_use]
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the resource is one that a vendor defines: counted in whole pieces, request equal to limit.
#[must_use]
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.")
}

/// A resource list with its amounts read, in order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceList(BTreeMap<String, Quantity>);

impl ResourceList {
    /// The list as read; absent is empty.
    #[must_use]
    pub fn read(list: Option<&WireList>) -> Self {
        Self(list.into_iter().flatten().map(|(name, quantity)| (name.clone(), wire_quantity(quantity))).collect())
    }

    /// What is stated for a resource.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Quantity> {
        self.0.get(name)
    }

    /// States an amount.
    pub fn set(&mut self, name: &str, quantity: Quantity) {
        self.0.insert(name.to_owned(), quantity);
    }

    /// Takes out what does not pass.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Quantity) -> bool) {
        self.0.retain(|name, quantity| keep(name, quantity));
    }

    /// Whether nothing is stated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many resources are stated.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Names and amounts, in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Quantity)> {
        self.0.iter().map(|(name, quantity)| (name.as_str(), quantity))
    }

    /// Adds an amount to what is stated for its resource.
    pub fn add(&mut self, name: &str, quantity: &Quantity) {
        match self.0.get_mut(name) {
            Some(sum) => *sum += quantity,
            None => self.set(name, quantity.clone()),
        }
    }

    /// Adds every amount of the other list.
    pub fn add_all(&mut self, other: &Self) {
        for (name, quantity) in other.iter() {
            self.add(name, quantity);
        }
    }

    /// Raises every amount to the other list's where that is larger or alone.
    pub fn raise_to(&mut self, other: &Self) {
        for (name, quantity) in other.iter() {
            if self.get(name).is_none_or(|own| own < quantity) {
                self.set(name, quantity.clone());
            }
        }
    }

    /// CPU in thousandths, rounded up; 0 where none is stated.
    #[must_use]
    pub fn cpu(&self) -> MilliCpu {
        self.get(CPU).map_or(MilliCpu(0), MilliCpu::from)
    }

    /// Memory in bytes, rounded up; 0 where none is stated.
    #[must_use]
    pub fn memory(&self) -> Bytes {
        self.get(MEMORY).map_or(Bytes(0), Bytes::from)
    }

    /// The list as it stands in an object.
    #[must_use]
    pub fn to_wire(&self) -> WireList {
        self.iter().map(|(name, quantity)| (name.to_owned(), WireQuantity(quantity.to_string()))).collect()
    }
}

impl<'a> FromIterator<(&'a str, Quantity)> for ResourceList {
    fn from_iter<I: IntoIterator<Item = (&'a str, Quantity)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(name, quantity)| (name.to_owned(), quantity)).collect())
    }
}

/// Requests and limits with their amounts read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// What is reserved.
    pub requests: ResourceList,
    /// What is not exceeded.
    pub limits: ResourceList,
}

impl Requirements {
    /// Both lists as read; absent is empty.
    #[must_use]
    pub fn read(requirements: Option<&ResourceRequirements>) -> Self {
        Self {
            requests: ResourceList::read(requirements.and_then(|it| it.requests.as_ref())),
            limits: ResourceList::read(requirements.and_then(|it| it.limits.as_ref())),
        }
    }
}

/// Every quantity changed and printed anew; untouched where the text stays the same, which usually all do.
pub(crate) fn rewrite(list: &mut WireList, change: impl Fn(&mut Quantity)) -> Result<(), ParseError> {
    for wire in list.values_mut() {
        let mut quantity: Quantity = wire.0.trim().parse()?;
        change(&mut quantity);
        let text = quantity.to_string();
        if text != wire.0 {
            wire.0 = text;
        }
    }
    Ok(())
}
