//! What a shape does not say about the values of a type: where their order means nothing, and which variants were appended.

use crate::record::Shape;

/// The parts of a type as serde visits them. The derive of `SessionValue` composes it.
///
/// A struct of one member has the layout of that member, since serde may show it as either.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    /// The order of everything inside has a meaning.
    Ordered,
    /// A struct, a tuple or the entry of a map: these parts in this order.
    Parts(&'static [Layout]),
    /// An enum.
    Variants(&'static [VariantLayout]),
    /// Elements that are alike, in an order that has a meaning.
    List(&'static Layout),
    /// Elements that are alike, in no order: those of a hash map or a hash set.
    Unordered(&'static Layout),
    /// A part that leads back to the type it is in.
    Recursive(fn() -> Layout),
    /// Nothing is known: what serde shows as a sequence or a map may be in no order.
    Unknown,
}

/// One variant of an enum.
#[derive(Clone, Copy, Debug)]
pub struct VariantLayout {
    /// Its members; of one member, that member.
    pub inside: Layout,
    /// The shape of the variant alone, if it is `appended` and so no part of the enum's shape.
    pub appended: Option<Shape>,
}

impl Layout {
    /// Whether equal values always have equal encodings.
    pub(super) const fn is_ordered(&self) -> bool {
        match self {
            Self::Ordered => true,
            Self::List(inside) => inside.is_ordered(),
            Self::Unordered(_) | Self::Recursive(_) | Self::Unknown => false,
            Self::Parts(parts) => {
                let mut at = 0;
                while at < parts.len() {
                    if !parts[at].is_ordered() {
                        return false;
                    }
                    at += 1;
                }
                true
            }
            Self::Variants(variants) => {
                let mut at = 0;
                while at < variants.len() {
                    if !variants[at].inside.is_ordered() {
                        return false;
                    }
                    at += 1;
                }
                true
            }
        }
    }

    /// Whether a value may hold an appended variant.
    pub(super) const fn appends(&self) -> bool {
        match self {
            Self::Ordered | Self::Unknown => false,
            Self::Recursive(_) => true,
            Self::List(inside) | Self::Unordered(inside) => inside.appends(),
            Self::Parts(parts) => {
                let mut at = 0;
                while at < parts.len() {
                    if parts[at].appends() {
                        return true;
                    }
                    at += 1;
                }
                false
            }
            Self::Variants(variants) => {
                let mut at = 0;
                while at < variants.len() {
                    if variants[at].appended.is_some() || variants[at].inside.appends() {
                        return true;
                    }
                    at += 1;
                }
                false
            }
        }
    }

    /// The layout of the part at that place.
    pub(super) fn part(self, at: usize) -> Self {
        match self {
            Self::Parts(parts) => parts.get(at).copied().unwrap_or(Self::Ordered),
            Self::List(inside) | Self::Unordered(inside) => *inside,
            Self::Recursive(layout) => layout().part(at),
            Self::Unknown => Self::Unknown,
            Self::Ordered | Self::Variants(_) => Self::Ordered,
        }
    }

    pub(super) fn variant(self, at: u32) -> VariantLayout {
        let of = |inside| VariantLayout { inside, appended: None };
        match self {
            Self::Variants(variants) => {
                usize::try_from(at).ok().and_then(|at| variants.get(at)).copied().unwrap_or(of(Self::Ordered))
            }
            Self::Recursive(layout) => layout().variant(at),
            Self::Unknown => of(Self::Unknown),
            Self::Ordered | Self::Parts(_) | Self::List(_) | Self::Unordered(_) => of(Self::Ordered),
        }
    }

    /// Whether the elements of a sequence or a map in this place have no order.
    pub(super) fn is_unordered(self) -> bool {
        match self {
            Self::Unordered(_) | Self::Unknown => true,
            Self::Recursive(layout) => layout().is_unordered(),
            Self::Ordered | Self::Parts(_) | Self::Variants(_) | Self::List(_) => false,
        }
    }
}
