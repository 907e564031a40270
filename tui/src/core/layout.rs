//! Width tiers and what fits in them.

pub(crate) use dashboards::board::WidthTier as Tier;

/// Columns and lines of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Columns.
    pub(crate) width: u16,
    /// Lines.
    pub(crate) height: u16,
}

/// Narrower or lower terminals get one line that says so.
pub(crate) const LEAST: Size = Size { width: 20, height: 5 };

impl Size {
    /// The tier: XS is one pane, S one pane and a status, M master and detail, L facets beside.
    pub(crate) fn tier(self) -> Tier {
        match self.width {
            _ if self.height < 15 => Tier::XS,
            0..60 => Tier::XS,
            60..100 => Tier::S,
            100..160 => Tier::M,
            _ => Tier::L,
        }
    }

    /// Whether nothing useful fits.
    pub(crate) fn is_too_small(self) -> bool {
        self.width < LEAST.width || self.height < LEAST.height
    }

    /// Rows a page key moves.
    pub(crate) fn page(self) -> usize {
        usize::from(self.height.saturating_sub(6)).max(1)
    }
}
