package org.tinyaya.demo.bundle

import java.util.Locale

/** A language and, where it was measured, how far the program is from the unquantized model there. */
data class BundleLanguage(val code: String, val klMnat: Double?)

/** A bundle in, the languages that it speaks out; the app itself knows none. */
object Languages {
    private val CODE = Regex("[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")

    /** By code: those the manifest lists, else those it has figures of, else those of the golden texts. */
    fun of(bundle: Bundle): List<BundleLanguage> {
        val figures = figures(bundle.manifest.quality)
        val codes =
            bundle.manifest.languages?.takeIf { it.isNotEmpty() }
                ?: figures.keys.takeIf { it.isNotEmpty() }
                ?: bundle.goldenTokens().map { it.name }
        return codes.filter { CODE.matches(it) && isLanguage(it) }.distinct().sorted()
            .map { BundleLanguage(it, figures[it]) }
    }

    /** The name of [code] in the language of [locale]. */
    fun display(code: String, locale: Locale): String =
        Locale.forLanguageTag(code).getDisplayName(locale).ifEmpty { code }

    /** The name of [code] in English, for the instruction that the model reads. */
    fun english(code: String): String = display(code, Locale.ENGLISH)

    /** Golden texts also have cases such as "code" and "emoji", which are no languages. */
    private fun isLanguage(code: String) = Locale.forLanguageTag(code).let { it.getDisplayLanguage(Locale.ENGLISH) != it.language }

    /**
     * Figures by language, wherever the manifest's `quality` keeps them: an object whose keys are
     * codes, with a number or an object that has a KL.
     */
    fun figures(quality: Map<*, *>?): Map<String, Double> {
        if (quality == null) return emptyMap()
        val rows = (quality["languages"] as? Map<*, *>) ?: (quality["by_language"] as? Map<*, *>) ?: quality
        return rows.entries.mapNotNull { (code, value) -> klMnat(value)?.let { code.toString() to it } }
            .filter { (code, _) -> CODE.matches(code) && isLanguage(code) }
            .toMap()
    }

    private fun klMnat(value: Any?): Double? =
        when (value) {
            is Number -> value.toDouble()
            is Map<*, *> -> (value["kl_mnat"] as? Number)?.toDouble() ?: (value["kl"] as? Number)?.toDouble()?.times(1000)
            else -> null
        }
}
