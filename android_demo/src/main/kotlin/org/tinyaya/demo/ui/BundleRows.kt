package org.tinyaya.demo.ui

import android.app.Activity
import android.view.View
import android.view.ViewGroup
import android.widget.BaseAdapter
import android.widget.Button
import android.widget.TextView
import org.tinyaya.demo.R
import org.tinyaya.demo.bundle.BrokenBundle
import org.tinyaya.demo.bundle.BundleError
import org.tinyaya.demo.bundle.InstalledBundle
import org.tinyaya.demo.bundle.Languages
import org.tinyaya.demo.bundle.MemoryNeed
import org.tinyaya.demo.bundle.QualityFigures
import org.tinyaya.demo.chat.Problem
import java.io.File

/** One folder of the list. */
sealed interface BundleRow {
    val folder: File

    data class Usable(val installed: InstalledBundle, val languages: List<String>) : BundleRow {
        override val folder: File get() = installed.bundle.folder

        companion object {
            /** Reads files: not for the main thread. */
            fun of(installed: InstalledBundle): BundleRow =
                try {
                    Usable(installed, Languages.of(installed.bundle))
                } catch (error: BundleError) {
                    Broken(BrokenBundle(installed.bundle.folder, error))
                }
        }
    }

    data class Broken(val broken: BrokenBundle) : BundleRow {
        override val folder: File get() = broken.folder
    }
}

/** What the buttons of a row do. */
class BundleActions(
    val open: (BundleRow.Usable) -> Unit,
    val bench: (BundleRow.Usable) -> Unit,
    val delete: (BundleRow) -> Unit,
)

/** Bundles in, rows of the list out. */
class BundleRows(private val activity: Activity, private val words: Words, private val actions: BundleActions) : BaseAdapter() {
    private var rows = emptyList<BundleRow>()

    fun set(rows: List<BundleRow>) {
        this.rows = rows
        notifyDataSetChanged()
    }

    override fun getCount() = rows.size

    override fun getItem(position: Int) = rows[position]

    override fun getItemId(position: Int) = position.toLong()

    override fun getView(position: Int, convertView: View?, parent: ViewGroup): View {
        val view = convertView ?: activity.layoutInflater.inflate(R.layout.bundle_item, parent, false)
        val row = rows[position]
        view.findViewById<TextView>(R.id.name).text = row.folder.name
        when (row) {
            is BundleRow.Usable -> show(view, row)
            is BundleRow.Broken -> show(view, row)
        }
        view.findViewById<Button>(R.id.delete).setOnClickListener { actions.delete(row) }
        return view
    }

    private fun show(view: View, row: BundleRow.Usable) {
        val manifest = row.installed.bundle.manifest
        val line = activity.getString(R.string.bundle_line, manifest.engine, words.bytes(manifest.totalBytes), manifest.limits.context)
        val needed = activity.getString(R.string.bundle_memory, words.bytes(MemoryNeed.of(manifest)))
        view.findViewById<TextView>(R.id.line).show("$line\n$needed")
        view.findViewById<TextView>(R.id.languages).show(languages(row.languages))
        val unverified = activity.getString(R.string.bundle_unverified).takeIf { !row.installed.isVerified }
        view.findViewById<TextView>(R.id.quality).show(listOfNotNull(quality(QualityFigures.of(manifest)), unverified).joinToString("\n"))
        view.findViewById<Button>(R.id.open).apply {
            visibility = View.VISIBLE
            setText(if (row.installed.isVerified) R.string.open_chat else R.string.verify)
            setOnClickListener { actions.open(row) }
        }
        view.findViewById<Button>(R.id.bench).apply {
            visibility = if (row.installed.isVerified) View.VISIBLE else View.GONE
            setOnClickListener { actions.bench(row) }
        }
    }

    private fun show(view: View, row: BundleRow.Broken) {
        view.findViewById<TextView>(R.id.line).show(activity.getString(R.string.bundle_broken, words.problem(Problem.of(row.broken.error))))
        for (id in listOf(R.id.languages, R.id.quality, R.id.open, R.id.bench)) view.findViewById<View>(id).visibility = View.GONE
    }

    private fun languages(languages: List<String>): String {
        val count = activity.resources.getQuantityString(R.plurals.bundle_languages, languages.size, languages.size)
        return count + ": " + languages.joinToString(", ") { Languages.display(it, words.locale) }
    }

    private fun quality(figures: QualityFigures?): String {
        if (figures == null) return activity.getString(R.string.bundle_quality_unknown)
        val worst = Languages.display(figures.worstLanguage, words.locale)
        return activity.getString(R.string.bundle_quality, words.number(figures.meanMnat), worst, words.number(figures.worstMnat))
    }
}
